/** Arguments as PyTorch prints them, so that trees can be compared line by line. */

/** Strings stand as they are, without quotes. */
export type PythonValue = number | boolean | string | null | readonly (number | null)[];

/** `4, eps=1e-05, momentum=None, affine=True`. */
export function formatPython(
  positional: readonly PythonValue[],
  named: Readonly<Record<string, PythonValue>> = {},
): string {
  const keywords = Object.entries(named).map(([name, value]) => `${name}=${formatValue(value)}`);
  return [...positional.map(formatValue), ...keywords].join(", ");
}

function formatValue(value: PythonValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return formatNumber(value);
  if (typeof value === "string") return value;
  if (value.length === 1) return `(${formatValue(value[0])},)`;
  return `(${value.map(formatValue).join(", ")})`;
}

/** Python writes two digits of exponent and turns to it below 1e-4, where JavaScript does below 1e-6. */
function formatNumber(value: number): string {
  const size = Math.abs(value);
  if (value === 0 || (size >= 1e-4 && size < 1e16)) return String(value);
  return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
}
