// The two passes as a list of steps: 0 the leaves; then one for each result; the seed; then one for each chain rule.
// What is known after step s, and how it is said, with the numbers that now stand in the leaves. Nothing here touches
// the document.

// The numbers as they were packed. A node has one unless it is computed here; in a product, the local derivative by a
// factor is the other factor, and needs no formula.
function unpack({ nodes, values }) {
  const numbers = new DataView(Uint8Array.from(atob(values), (each) => each.charCodeAt(0)).buffer);
  let at = 0;
  for (const node of nodes) if (!node.inputs || "locals" in node) node.value = numbers.getFloat64(8 * at++, true);
  for (const node of nodes) {
    if (!node.inputs) continue;
    const { inputs } = node, n = inputs.length >> 1, other = (k) => (k < 2 * n ? nodes[inputs[k < n ? k + n : k - n]].name : "1");
    node.formulas ??= inputs.map((_, k) => other(k));
  }
}

function readPasses(data, rules) {
  unpack(data);
  const engine = makeEngine(data, rules), leaves = new Map();
  let now = engine.run(leaves);
  const recorded = now;
  const nodes = data.nodes.map((node, i) => ({
    ...node,
    computed: 0, // the step that gives it its value
    drawn: node.inputs, // as recorded, and as in the picture
    get inputs() { return node.inputs && now.inputs[i]; }, // of a choice the branch that is taken
    get made() { return node.choice ? nodes[now.inputs[i][0]].name : node.made; },
    get value() { return now.values[i]; },
    get data() { return formatNumber(now.values[i]); },
  }));
  const forward = [];
  for (const i of engine.order) if (data.nodes[i].inputs && data.shown[i]) nodes[i].computed = forward.push(i);
  // a node that is not drawn has its value with the next one that is
  let next = forward.length;
  for (const i of [...engine.order].reverse()) {
    if (nodes[i].computed) next = nodes[i].computed;
    else nodes[i].computed = next;
  }
  const seed = forward.length + 1;
  const passes = { ...data, nodes, forward, seed, last: seed + forward.length };

  // Terms and steps hold numbers; their texts are written when they are read.
  const written = (number) => (number === null ? null : formatNumber(number));
  const texts = {};
  for (const name of ["upstream", "local", "product", "before", "after"])
    Object.defineProperty(texts, name, { get() { return written(this.numbers[name]); } });
  const withTexts = (each) => Object.assign(Object.create(texts), each);
  function collect() {
    passes.ledger = nodes.map(() => []);
    passes.steps = [];
    let at = seed;
    for (const i of [...engine.order].reverse()) {
      if (!data.nodes[i].inputs) continue;
      if (data.shown[i]) at += 1;
      const terms = now.terms[i].map((term) => withTexts({ ...term, formula: data.nodes[i].formulas[term.position] }));
      for (const term of terms) passes.ledger[term.input].push([at, term]);
      passes.steps.push(withTexts({ node: i, terms, numbers: { upstream: now.gradients[i] } }));
    }
    passes.backward = passes.steps.filter((each) => data.shown[each.node]);
  }
  collect();
  const recordedLedger = passes.ledger;

  const isLeaf = (i) => i in nodes && !data.nodes[i].inputs && !nodes[i].constant;
  const whyFixed = (i) => {
    const at = nodes[engine.fixed.get(i)];
    return at ? `${nodes[i].name} keeps its number: ${at.name} depends on it, and the rule of ${at.only} runs in Python only.` : "";
  };
  const move = (numbers) => { // a Map from leaves to numbers; the others have their recorded ones
    leaves.clear();
    for (const [i, x] of numbers)
      if (isLeaf(i) && !engine.fixed.has(i) && !Object.is(x, engine.recorded[i])) leaves.set(i, x);
    now = engine.run(leaves);
    collect();
  };
  const moved = (i) => !Object.is(now.values[i], recorded.values[i]);
  const localMoved = (i, k) => !Object.is(now.locals[i][k], recorded.locals[i][k]);
  const gradientMoved = (i, s) => !Object.is(gradientValue(i, s), gradientValue(i, s, recordedLedger));

  const chainRule = (s) => passes.backward[s - seed - 1]; // what the backward pass does at step s
  const known = (i, s) => !data.nodes[i].inputs || nodes[i].computed <= s;
  const gradientValue = (i, s, ledger = passes.ledger) => {
    if (i === data.root) return s >= seed ? 1 : null;
    let sum = null;
    for (const [at, term] of ledger[i]) if (at <= s) sum = term.numbers.after;
    return sum;
  };
  const gradient = (i, s) => written(gradientValue(i, s));
  const localValue = (i, k) => now.locals[i][k];
  const localNumber = (i, k) => formatNumber(localValue(i, k));
  const active = (s) => (s === 0 ? null : s < seed ? forward[s - 1] : s === seed ? data.root : chainRule(s).node);
  const layerOf = (i) => data.layers.findIndex((each) => each.members.includes(i));
  const wanted = (terms) => terms.filter((term) => !nodes[term.input].constant);

  const stands = (i) => nodes[i].wrapped || nodes[i].name;
  const local = (i, k) => "∂" + String(k + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]) + stands(i);
  const gradientName = (i) => "∂" + stands(data.root) + "/∂" + stands(i);
  const sentence = (s) => {
    if (s === 0) return "Start. The leaves hold their numbers; nothing is computed yet.";
    if (s < seed) {
      const node = nodes[forward[s - 1]];
      return `Forward: ${node.name} = ${node.made} = ${node.data}`;
    }
    if (s === seed) return `Backward begins with the seed: ${gradientName(data.root)} = 1`;
    const each = chainRule(s);
    if (each.upstream === null) return `Backward at ${nodes[each.node].name}: nothing arrives, its branch is not taken.`;
    return `Backward at ${nodes[each.node].name}: ` + wanted(each.terms).map((term) =>
      `${gradientName(term.input)} += ${gradientName(each.node)} · ${local(each.node, term.position)} = ` +
      `${each.upstream} × ${term.local} = ${term.product}` +
      (term.before === null ? "" : `, running sum ${term.before} + ${term.product} = ${term.after}`)).join("; ");
  };
  return Object.assign(passes, { leaves, recorded: engine.recorded, isLeaf, whyFixed, move, moved, localMoved, gradientMoved, chainRule, known,
    gradientValue, gradient, localValue, localNumber, active, layerOf, wanted, local, gradientName, sentence });
}
