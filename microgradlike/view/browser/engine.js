// Both passes, computed anew with other numbers in the leaves. Nothing here touches the document.
//
// A node whose inputs all have their recorded numbers keeps what Python recorded, to the last bit. The others are
// computed by the rules of `ops`, which Python has written out as JavaScript: [value, ∂₁, ∂₂, …] = rule(...inputs).
// So are recorded numbers that are left out: + − × ÷ give the same bits everywhere.

function makeEngine({ nodes, root, sequence }, rules) {
  const order = sequence || nodes.map((_, i) => i); // each node after its inputs
  const recorded = nodes.map((node) => node.value === undefined ? 0 : node.value);
  const locals = nodes.map((node) => (node.locals || []).map(readNumber));
  const compute = (i, inputs, values, slopes) => {
    [values[i], ...slopes[i]] = rules[nodes[i].rule](...inputs.map((j) => values[j]));
  };
  for (const i of order) if (nodes[i].value === undefined) compute(i, nodes[i].inputs, recorded, locals);

  // Of a choice the condition and both branches, though only the one taken is its input.
  const dependsOn = (node) => node.choice || node.inputs || [];

  // The leaves that must keep their numbers, and a node that depends on them and has no rule in JavaScript.
  const fixed = new Map();
  for (const i of [...order].reverse()) {
    const inRecording = fixed.get(i) ?? (nodes[i].only ? i : undefined);
    if (inRecording !== undefined) for (const j of dependsOn(nodes[i])) fixed.set(j, inRecording);
  }

  function run(leaves) {
    const now = { values: [...recorded], locals: [...locals], inputs: nodes.map((node) => node.inputs || []) };
    forward(now, leaves);
    backward(now);
    return now;
  }

  function forward({ values, locals, inputs }, leaves) {
    const moved = nodes.map(() => false);
    for (const i of order) {
      const node = nodes[i];
      if (leaves.has(i)) values[i] = leaves.get(i);
      else if (dependsOn(node).some((j) => moved[j])) {
        if (node.choice) {
          const [condition, ifTrue, ifFalse] = node.choice;
          inputs[i] = [values[condition] === 0 ? ifFalse : ifTrue];
        }
        compute(i, inputs[i], values, locals);
      }
      moved[i] = !Object.is(values[i], recorded[i]) || inputs[i][0] !== node.inputs?.[0];
    }
  }

  // gradients[i] is null where none arrives: on a branch that is not taken. arrivals[i]: what adds up there.
  function backward(now) {
    const { locals, inputs } = now, gradients = now.gradients = nodes.map(() => null);
    now.terms = nodes.map(() => []);
    gradients[root] = 1;
    for (let n = order.length - 1; n >= 0; n -= 1) {
      const i = order[n], upstream = gradients[i];
      if (upstream === null) continue;
      now.terms[i] = inputs[i].map((input, position) => {
        const local = locals[i][position], product = upstream * local, before = gradients[input];
        const after = gradients[input] = (before ?? 0) + product;
        return { node: i, input, position, numbers: { upstream, local, product, before, after } };
      });
    }
  }

  return { order, recorded, fixed, run };
}
