/** The wrapper that gives a backend float16: what it allocates, and when it does nothing. What its kernels compute is in contract/half.ts. */
import { expect, test } from "vitest";
import type { Backend, Operand } from "../src/backend/backend.ts";
import { withFloat16 } from "../src/backend/half.ts";
import { createReferenceBackend } from "../src/backend/reference/index.ts";
import { bytesPerElement, type DType } from "../src/core/dtype.ts";
import { OutOfMemoryError } from "../src/core/errors.ts";

function operand(backend: Backend, dtype: DType, values: readonly number[]): Operand {
  const handle = backend.alloc(values.length * bytesPerElement(dtype));
  const x = { handle, offset: 0, length: values.length, dtype };
  backend.write(x, Float32Array.from(values));
  return x;
}

/** A backend that notes the bytes of allocations and refuses from the one numbered `most` on. */
function limited(most: { count: number }) {
  const inner = createReferenceBackend();
  const sizes: number[] = [];
  const alloc = (bytes: number) => {
    if (most.count-- <= 0) {
      throw new OutOfMemoryError({ op: "alloc", expected: "room", actual: "none", bytes });
    }
    sizes.push(bytes);
    return inner.alloc(bytes);
  };
  return { backend: withFloat16({ ...inner, alloc }), sizes };
}

test("a kernel has float32 copies of its float16 operands, and gives them back", () => {
  const { backend, sizes } = limited({ count: 100 });
  const [x, sum] = [operand(backend, "float16", [1, 2, 3]), operand(backend, "float16", [4, 5, 6])];
  const before = backend.memory().liveBytes;
  sizes.length = 0;
  backend.addInto(x, sum);
  expect(sizes).toEqual([12, 12]);
  expect(backend.memory().liveBytes).toBe(before);
  expect([...backend.readSync(sum)]).toEqual([5, 7, 9]);
});

test("copying float16, and kernels without float16, allocate nothing", () => {
  const { backend, sizes } = limited({ count: 100 });
  const halves = [operand(backend, "float16", [1, 2, 3]), operand(backend, "float16", [0, 0, 0])];
  const floats = [operand(backend, "float32", [1, 2, 3]), operand(backend, "float32", [4, 5, 6])];
  sizes.length = 0;
  backend.copy(halves[0], halves[1]);
  backend.addInto(floats[0], floats[1]);
  expect(sizes).toEqual([]);
  expect([...backend.readSync(halves[1])]).toEqual([1, 2, 3]);
});

test.each([0, 1])("out of memory after %i copies leaves all as it was", (copies) => {
  const most = { count: 100 };
  const { backend } = limited(most);
  const [x, sum] = [operand(backend, "float16", [1, 2, 3]), operand(backend, "float16", [4, 5, 6])];
  const before = backend.memory().liveBytes;
  most.count = copies;
  expect(() => backend.addInto(x, sum)).toThrow(OutOfMemoryError);
  expect(backend.memory().liveBytes).toBe(before);
  most.count = 100;
  expect([...backend.readSync(sum)]).toEqual([4, 5, 6]);
});
