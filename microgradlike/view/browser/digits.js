// How numbers are written and read: `formatNumber` writes what `format_number` writes in Python.

function formatNumber(x) {
  if (Number.isNaN(x)) return "nan";
  if (Math.abs(x) === Infinity) return x < 0 ? "-inf" : "inf";
  if (Math.abs(x) < 1e7 && Number.isInteger(x)) return String(x); // that of -0 is 0
  let [digits, exponent] = x.toExponential(3).split("e");
  if (/^-?\d\.\d{3}5e/.test(x.toExponential())) { // halfway between two: Python takes the even one
    const [exact] = x.toExponential(50).split("e"), [below] = [exact.slice(0, exact.indexOf(".") + 4)];
    if (/^0*$/.test(exact.slice(below.length + 1)) && +below.at(-1) % 2 === 0) digits = below;
  }
  const e = +exponent;
  if (e >= -4 && e < 4) return String(+(digits + "e" + e));
  return String(+digits) + "e" + (e < 0 ? "-" : "+") + String(Math.abs(e)).padStart(2, "0");
}

// The shortest text that reads back as exactly this number.
function writeNumber(x) {
  return Object.is(x, -0) ? "-0" : Number.isFinite(x) ? String(x).replace("+", "") : formatNumber(x);
}

// What somebody typed, as a number: "−2", "0,5", "1e400" (inf); null where it is none.
function readNumber(text) {
  if (typeof text === "number") return text;
  const plain = String(text).trim().toLowerCase().replace(/^[−–]/, "-").replace("e−", "e-").replace("∞", "inf");
  if (/^[+-]?(\d+[.,]?\d*|[.,]\d+)(e[+-]?\d+)?$/.test(plain)) return +plain.replace(",", ".");
  if (/^[+-]?inf(inity)?$/.test(plain)) return plain[0] === "-" ? -Infinity : Infinity;
  return plain === "nan" ? NaN : null;
}
