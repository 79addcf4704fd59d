/**
 * float16 for any backend: stored in 16 bits, computed in float32. Operands of float16 get temporary float32 copies, the kernel runs on
 * those, and what it wrote is rounded back, once. ADR 0013.
 */
import { bytesPerElement, type DType } from "../core/dtype.ts";
import { roundToFloat16 } from "../core/half.ts";
import type { Backend, Operand } from "./backend.ts";

/** What a kernel does to an operand: whatever it reads, or leaves in part as it was, is not "out". */
type Role = "in" | "out" | "inout";

/** The roles of one argument: of an operand, of the operands in an object, of each object in a list, or none. */
type RoleOf<Argument> = Operand extends Argument
  ? Role
  : Argument extends readonly (infer Entry)[]
    ? readonly [RoleOf<Entry>]
    : OperandKeys<NonNullable<Argument>> extends never
      ? null
      : { readonly [Key in OperandKeys<NonNullable<Argument>>]: Role };
type OperandKeys<Fields> = Fields extends object
  ? { [Key in keyof Fields]-?: Operand extends Fields[Key] ? Key : never }[keyof Fields]
  : never;
type RolesOf<Arguments extends readonly unknown[]> = {
  readonly [Index in keyof Arguments]: RoleOf<Arguments[Index]>;
};

/** What the wrapper does itself. */
type Own = "fill" | "copy" | "cast";
type Facts = "device" | "dtypes" | "statisticsDType" | "readsSynchronously";
type Memory = "alloc" | "free" | "write" | "read" | "readSync" | "memory";
/** The kernels that the wrapper calls with widened operands. */
export type Kernel = Exclude<keyof Backend, Own | Facts | Memory>;

/** Every kernel's arguments, in order: a kernel without a line, or a line that does not fit its arguments, does not compile. */
const rolesByKernel: { readonly [Name in Kernel]: RolesOf<Parameters<Backend[Name]>> } = {
  stridedCopy: ["in", "out", null],
  stridedWrite: ["in", "inout", null, null],
  unary: [null, "in", "out", null],
  unaryGrad: [null, "in", "in", "out", null],
  binary: [null, "in", "in", "out", null],
  compare: [null, "in", "in", "out", null],
  select: ["in", "in", "in", "out"],
  addInto: ["in", "inout"],
  dropout: ["in", "out", null, null],
  reduce: [null, "in", "out", null],
  argmax: ["in", "out", null],
  softmax: ["in", "out", null, null],
  softmaxGrad: ["in", "in", "out", null, null],
  gather: ["in", "in", "out", null],
  scatterAdd: ["in", "in", "inout", null],
  indexSelect: ["in", "in", "out", null],
  indexAdd: ["in", "in", "inout", null],
  matmul: ["in", "in", "out", null],
  conv2d: ["in", "in", "in", "out", null],
  conv2dGradInput: ["in", "in", "out", null],
  conv2dGradWeight: ["in", "in", "out", null],
  maxPool: ["in", "out", "out", null],
  maxPoolGrad: ["in", "in", "out", null],
  avgPool: ["in", "out", null],
  avgPoolGrad: ["in", "out", null],
  batchNormStats: [
    "in",
    "out",
    "out",
    null,
    { runningMean: "inout", runningVar: "inout", skipped: "inout" },
  ],
  batchNormApply: ["in", "in", "in", "in", "in", "out", { residual: "in" }],
  batchNormTrain: [
    ...(["in", "out", "out", "in", "in", "out"] as const),
    { runningMean: "inout", runningVar: "inout", skipped: "inout" },
    { residual: "in" },
  ],
  batchNormGrad: [
    ...(["in", "in", "in", "in", "in", "in", "in"] as const),
    { dx: "out", dWeight: "out", dBias: "out", dResidual: "out" },
    null,
  ],
  sgdStep: [[{ parameter: "inout", grad: "in", momentumBuffer: "inout" }], null],
  adamStep: [
    [{ parameter: "inout", grad: "in", expAvg: "inout", expAvgSq: "inout", maxExpAvgSq: "inout" }],
    null,
  ],
  rmspropStep: [
    [
      {
        ...({ parameter: "inout", grad: "in", squareAvg: "inout" } as const),
        ...({ gradAvg: "inout", momentumBuffer: "inout" } as const),
      },
    ],
    null,
  ],
  averageInto: ["in", "inout", null],
};

type FieldRoles = Readonly<Record<string, Role>>;
type Roles = Role | FieldRoles | readonly [FieldRoles] | null;
type Run = (args: readonly unknown[]) => void;

/**
 * A backend with float16 tensors made of one without. Of float16 it needs only casts to and from float32, bit for bit also for NaN, and
 * from float64 where its statistics are that.
 *
 * Cost: a pass over each float16 operand, and float32 memory for the operands of one kernel at a time.
 */
export function withFloat16(inner: Backend): Backend {
  const kernels: Partial<Record<Kernel, (...args: readonly unknown[]) => void>> = {};
  for (const name of Object.keys(rolesByKernel) as Kernel[]) {
    const run: Run = (args) => Reflect.apply(inner[name], inner, args);
    const roles: readonly Roles[] = rolesByKernel[name];
    const [first] = roles;
    kernels[name] = isListRole(first)
      ? (...args) => runEntries(inner, first[0], args, run)
      : (...args) => (holdsAnyHalf(args, roles) ? runWidened(inner, roles, args, run) : run(args));
  }
  return {
    ...inner,
    dtypes: [...inner.dtypes, "float16"],
    ...(kernels as Pick<Backend, Kernel>),
    ...hostMethods(inner),
    ...movement(inner),
  };
}

/** Host values of float16 are a Float32Array. */
function hostMethods(inner: Backend): Pick<Backend, "write" | "read" | "readSync"> {
  return {
    write(out, source) {
      if (!isHalf(out)) return inner.write(out, source);
      const temporaries = new Temporaries(inner);
      temporaries.use(() => inner.write(temporaries.widened(out, "out"), source));
    },
    read: (x) => {
      if (!isHalf(x)) return inner.read(x);
      const temporaries = new Temporaries(inner);
      return temporaries.use(() => inner.read(temporaries.widened(x, "in")));
    },
    readSync(x) {
      if (!isHalf(x)) return inner.readSync(x);
      const temporaries = new Temporaries(inner);
      return temporaries.use(() => inner.readSync(temporaries.widened(x, "in")));
    },
  };
}

function movement(inner: Backend): Pick<Backend, Own> {
  return {
    fill(out, value) {
      if (!isHalf(out)) return inner.fill(out, value);
      const temporaries = new Temporaries(inner);
      temporaries.use(() => inner.fill(temporaries.widened(out, "out"), roundToFloat16(value)));
    },
    copy: (x, out) => (isHalf(x) ? inner.copy(asBytes(x), asBytes(out)) : inner.copy(x, out)),
    cast(x, out) {
      const isDirect = isHalf(x) ? out.dtype === "float32" : !isHalf(out) || isFloat(x);
      if (isDirect) return inner.cast(x, out);
      const temporaries = new Temporaries(inner);
      // Exact for what float16 can hold: integers that float32 rounds are infinite in it.
      temporaries.use(() => {
        inner.cast(temporaries.widened(x, "in"), temporaries.widened(out, "out"));
      });
    },
  };
}

function runWidened(
  inner: Backend,
  roles: readonly Roles[],
  args: readonly unknown[],
  run: Run,
): void {
  const temporaries = new Temporaries(inner);
  temporaries.use(() => run(args.map((arg, i) => widenedArgument(temporaries, arg, roles[i]))));
}

function isListRole(roles: Roles): roles is readonly [FieldRoles] {
  return Array.isArray(roles);
}

/** A kernel whose first argument is a list: float16 entries one by one, so that there are copies of one at a time. */
function runEntries(
  inner: Backend,
  roles: FieldRoles,
  [entries, ...rest]: readonly unknown[],
  run: Run,
): void {
  const [half, wide]: unknown[][] = [[], []];
  for (const entry of entries as readonly unknown[]) {
    (holdsHalf(entry, roles) ? half : wide).push(entry);
  }
  if (wide.length > 0) run([wide, ...rest]);
  for (const entry of half) {
    const temporaries = new Temporaries(inner);
    temporaries.use(() => run([[widenedArgument(temporaries, entry, roles)], ...rest]));
  }
}

/** Asked of every argument of every kernel, so without a closure or an array. */
function holdsHalf(arg: unknown, roles: Roles): boolean {
  if (roles === null || isListRole(roles) || typeof arg !== "object" || arg === null) return false;
  if (typeof roles === "string") return "dtype" in arg && arg.dtype === "float16";
  for (const key in roles) if (holdsHalf(Reflect.get(arg, key), roles[key])) return true;
  return false;
}

function holdsAnyHalf(args: readonly unknown[], roles: readonly Roles[]): boolean {
  for (let i = 0; i < args.length; i++) if (holdsHalf(args[i], roles[i])) return true;
  return false;
}

function widenedArgument(temporaries: Temporaries, arg: unknown, roles: Roles): unknown {
  if (roles === null || isListRole(roles) || arg === null) return arg;
  if (typeof roles === "string") return temporaries.widened(arg as Operand, roles);
  const fields = Object.entries(roles).map(([key, role]) => {
    const operand: Operand | null = Reflect.get(arg as object, key);
    return [key, operand && temporaries.widened(operand, role)];
  });
  return { ...(arg as object), ...Object.fromEntries(fields) };
}

/** The float32 copies of one call. */
class Temporaries {
  readonly #backend: Backend;
  readonly #handles: number[] = [];
  /** Copies that the kernel writes, with the memory they stand for. */
  readonly #written: { readonly wide: Operand; readonly target: Operand }[] = [];

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** The operand itself unless it is float16. */
  widened(operand: Operand, role: Role): Operand {
    if (!isHalf(operand)) return operand;
    const { length } = operand;
    const dtype: DType = "float32";
    const handle = this.#backend.alloc(length * bytesPerElement(dtype));
    this.#handles.push(handle);
    const wide: Operand = { handle, offset: 0, length, dtype };
    if (role !== "out") this.#backend.cast(operand, wide);
    if (role !== "in") this.#written.push({ wide, target: operand });
    return wide;
  }

  /** Runs what asks for copies, rounds back those it wrote, and frees all, also when memory ran out halfway. */
  use<Result>(run: () => Result): Result {
    try {
      const result = run();
      for (const { wide, target } of this.#written) this.#backend.cast(wide, target);
      return result;
    } finally {
      for (const handle of this.#handles) this.#backend.free(handle);
    }
  }
}

function isHalf({ dtype }: Operand): boolean {
  return dtype === "float16";
}

function isFloat({ dtype }: Operand): boolean {
  return dtype === "float32" || dtype === "float64";
}

/** The same memory, for kernels that move it whatever it means. */
function asBytes({ handle, offset, length }: Operand): Operand {
  return { handle, offset: offset * 2, length: length * 2, dtype: "uint8" };
}
