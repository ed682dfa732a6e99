// The two passes as a list of steps: 0 the leaves; then one for each result; the seed; then one for each chain rule.
// What is known after step s, and how it is said. Nothing here touches the document.

function readPasses(data) {
  const nodes = data.nodes.map((node) => ({ ...node, computed: 0 })); // `computed`: the step that gives it its value
  const forward = [];
  nodes.forEach((node, i) => {
    if (node.made !== undefined && data.shown[i]) node.computed = forward.push(i);
  });
  // a node that is not drawn has its value with the next one that is
  let next = forward.length;
  for (let i = nodes.length - 1; i >= 0; i--) {
    if (nodes[i].computed) next = nodes[i].computed;
    else nodes[i].computed = next;
  }
  const seed = forward.length + 1;
  const backward = data.steps.filter((each) => data.shown[each.node]);
  const ledger = nodes.map(() => []);
  let at = seed;
  for (const each of data.steps) {
    if (data.shown[each.node]) at += 1;
    for (const term of each.terms) ledger[term.input].push([at, { ...term, node: each.node, upstream: each.upstream }]);
  }

  const chainRule = (s) => backward[s - seed - 1]; // what the backward pass does at step s
  const known = (i, s) => nodes[i].made === undefined || nodes[i].computed <= s;
  const gradient = (i, s) => {
    if (i === data.root) return s >= seed ? data.one : null;
    let sum = null;
    for (const [at, term] of ledger[i]) if (at <= s) sum = term.after;
    return sum;
  };
  const active = (s) => (s === 0 ? null : s < seed ? forward[s - 1] : s === seed ? data.root : chainRule(s).node);
  const layerOf = (i) => data.layers.findIndex((each) => each.members.includes(i));
  const wanted = (terms) => terms.filter((term) => !nodes[term.input].constant);

  const stands = (i) => nodes[i].wrapped || nodes[i].name;
  const gradientName = (i) => "∂" + stands(data.root) + "/∂" + stands(i);
  const local = (i, k) => "∂" + String(k + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]) + stands(i);
  const sentence = (s) => {
    if (s === 0) return "Start. The leaves hold their numbers; nothing is computed yet.";
    if (s < seed) {
      const node = nodes[forward[s - 1]];
      return `Forward: ${node.name} = ${node.made} = ${node.data}`;
    }
    if (s === seed) return `Backward begins with the seed: ${gradientName(data.root)} = ${data.one}`;
    const each = chainRule(s);
    return `Backward at ${nodes[each.node].name}: ` + wanted(each.terms).map((term) =>
      `${gradientName(term.input)} += ${gradientName(each.node)} · ${local(each.node, term.position)} = ` +
      `${each.upstream} × ${term.local} = ${term.product}` +
      (term.before === null ? "" : `, running sum ${term.before} + ${term.product} = ${term.after}`)).join("; ");
  };
  return { ...data, nodes, forward, backward, ledger, seed, last: seed + backward.length,
    chainRule, known, gradient, active, layerOf, wanted, local, gradientName, sentence };
}
