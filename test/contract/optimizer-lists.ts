import type { Backend } from "../../src/backend/backend.ts";
import {
  type Given,
  inout,
  input,
  type KernelCase,
  type Operands,
} from "../support/kernel-case.ts";
import { distinct } from "../support/random.ts";

const options = { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01, eps: 1e-3, maximize: true };
const sgd = { dampening: 0.25, nesterov: false, isFirstStep: false };
const adam = { beta1: 0.9, beta2: 0.99, decoupledWeightDecay: true, step: 2 };

/** Each optimizer's step of parameters of these sizes at once. Empty ones, too: first, last and beside each other. */
export function listCases(sizes: readonly number[]): KernelCase[] {
  const all = [0, ...sizes, 0, 0];
  const of = (make: (seed: number, n: number) => Given, name: string) =>
    all.map((n, i): [string, Given] => [`${name}${i}`, make(i, n)]);
  const values = (seed: number) => (i: number, n: number) => distinct(n, { seed: seed + i });
  const given = Object.fromEntries([
    ...of((i, n) => inout(values(100)(i, n)), "parameter"),
    ...of((i, n) => input(values(200)(i, n)), "grad"),
    ...of((i, n) => inout(values(300)(i, n).map((v) => Math.abs(v) + 1)), "first"),
    ...of((i, n) => inout(values(400)(i, n).map((v) => Math.abs(v) * 0.1)), "second"),
    ...of((i, n) => inout(values(500)(i, n).map(Math.abs)), "third"),
  ]);
  const named = (run: (backend: Backend, entries: readonly Operands[]) => void): KernelCase => ({
    label: `a list of ${all.length} parameters`,
    given,
    run: (backend, o) => {
      const names = ["parameter", "grad", "first", "second", "third"];
      run(
        backend,
        all.map((_, i) => Object.fromEntries(names.map((name) => [name, o[`${name}${i}`]]))),
      );
    },
  });
  return [
    named((backend, list) => {
      const entries = list.map((o) => ({
        parameter: o.parameter,
        grad: o.grad,
        momentumBuffer: o.first,
      }));
      backend.sgdStep(entries, { ...options, ...sgd });
    }),
    named((backend, list) => {
      const entries = list.map(({ parameter, grad, first, second, third }) => ({
        ...{ parameter, grad, expAvg: first, expAvgSq: second, maxExpAvgSq: third },
      }));
      backend.adamStep(entries, { ...options, ...adam });
    }),
    named((backend, list) => {
      const entries = list.map(({ parameter, grad, first, second, third }) => ({
        ...{ parameter, grad, squareAvg: first, gradAvg: second, momentumBuffer: third },
      }));
      backend.rmspropStep(entries, { ...options, alpha: 0.9 });
    }),
  ];
}
