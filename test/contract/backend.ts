/**
 * The contract in src/backend/backend.ts as tests: one suite for every backend. A backend opts out of single claims, each with a
 * reason; a reason whose claim is gone fails.
 */
import { beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { batchNormContract } from "./batch-norm.ts";
import { batchNormApplyContract, batchNormTrainContract } from "./batch-norm-apply.ts";
import { batchNormGradContract } from "./batch-norm-grad.ts";
import { convContract } from "./conv.ts";
import { elementwiseContract } from "./elementwise.ts";
import { halfContract } from "./half.ts";
import { indexingContract } from "./indexing.ts";
import { integerContract } from "./integers.ts";
import { matmulContract } from "./matmul.ts";
import { memoryContract } from "./memory.ts";
import { movementContract } from "./movement.ts";
import { optimizerContract } from "./optimizer.ts";
import { poolContract } from "./pool.ts";
import { reduceContract } from "./reduce.ts";
import { softmaxContract } from "./softmax.ts";

/** Declares one test of the contract. */
export type Claim = (name: string, check: (backend: Backend) => void | Promise<void>) => void;

export interface OptOut {
  readonly claim: string;
  readonly reason: string;
}

const sections: readonly ((claim: Claim) => void)[] = [
  memoryContract,
  movementContract,
  elementwiseContract,
  reduceContract,
  softmaxContract,
  indexingContract,
  integerContract,
  halfContract,
  matmulContract,
  convContract,
  poolContract,
  batchNormContract,
  batchNormApplyContract,
  batchNormTrainContract,
  batchNormGradContract,
  optimizerContract,
];

/** Runs the whole contract on one backend, which is made once. */
export function runContract(
  name: string,
  makeBackend: () => Backend | Promise<Backend>,
  optOuts: readonly OptOut[] = [],
): void {
  describe(name, () => {
    let made: Promise<Backend> | undefined;
    const backend = () => {
      made ??= Promise.resolve(makeBackend());
      return made;
    };
    const claims = new Set<string>();
    beforeAll(backend);

    const claim: Claim = (claimName, check) => {
      claims.add(claimName);
      const reason = optOuts.find((optOut) => optOut.claim === claimName)?.reason;
      test(claimName, async (context) => {
        context.skip(reason !== undefined, reason);
        await check(await backend());
      });
    };
    for (const declare of sections) declare(claim);

    test("every opt-out names a claim and a reason", () => {
      const stale = optOuts.filter((optOut) => !claims.has(optOut.claim) || optOut.reason === "");
      expect(stale).toEqual([]);
    });
    test("the suite freed all it allocated", async () => {
      expect((await backend()).memory().liveBytes).toBe(0);
    });
  });
}
