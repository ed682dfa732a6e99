// The functions that the emitted rules call. They answer as those of `ieee` in Python do, on every number.

function arithmetic() {
  const { abs, exp, expm1, log, log1p, sqrt, sin, cos, tanh } = Math;
  return {
    abs, exp, expm1, log, log1p, sqrt, sin, cos, tanh,
    power: (a, b) => (a === 1 || (a === -1 && abs(b) === Infinity) ? 1 : a ** b), // where JavaScript says nan
    maximum: (a, b) => (a > b || Number.isNaN(a) ? a : b),
    minimum: (a, b) => (a < b || Number.isNaN(a) ? a : b),
  };
}
