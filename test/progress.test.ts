import { describe, expect, test } from "vitest";
import { data } from "../src/index.ts";

/** Collects what is written; a terminal when `isTTY`. */
class Paper {
  text = "";
  readonly isTTY: boolean;
  readonly columns = 120;
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

const three = new data.DataLoader(new data.TensorDataset(Int32Array.of(5, 6, 7)));

describe("progress", () => {
  test("gives the same items in the same order", async () => {
    const seen: number[] = [];
    for await (const [x] of data.progress(three, { stream: new Paper(false) })) {
      seen.push(await x.item());
    }
    expect(seen).toEqual([5, 6, 7]);
  });

  test("takes anything that can be looped over", async () => {
    const paper = new Paper(false);
    const seen: string[] = [];
    for await (const item of data.progress(["a", "b"], { stream: paper })) seen.push(item);
    expect(seen).toEqual(["a", "b"]);
    expect(paper.text).toContain("2/2");
  });

  test("in a pipe it ends with one plain line: label, count, rate and the values set", async () => {
    const paper = new Paper(false);
    const watched = data.progress(three, { label: "epoch 1", stream: paper });
    for await (const _ of watched) watched.set({ loss: 0.123456, mode: "train" });
    expect(paper.text).toMatch(
      /^epoch 1 3\/3, 0:00 < 0:00, [\d.e+]+\/s, loss=0\.1235, mode=train\n$/,
    );
  });

  test("without a length it counts, and says nothing of the time left", async () => {
    async function* endless() {
      yield* [1, 2, 3, 4];
    }
    const paper = new Paper(false);
    for await (const _ of data.progress(endless(), { stream: paper }));
    expect(paper.text).toMatch(/^4, 0:00, [\d.e+]+\/s\n$/);
  });

  test("on a terminal it draws a bar and leaves the last state on its own line", async () => {
    const paper = new Paper(true);
    const watched = data.progress(three, { label: "epoch 1", stream: paper });
    for await (const _ of watched) watched.set({ loss: 2 });
    expect(paper.text).toContain("epoch 1 [");
    expect(paper.text).toContain("3/3");
    expect(paper.text).toContain("loss=2");
    expect(paper.text.endsWith("\n")).toBe(true);
  });

  test.each([true, false])("break ends it and the loop below (terminal: %s)", async (isTTY) => {
    let isClosed = false;
    async function* source() {
      try {
        yield* [1, 2, 3];
      } finally {
        isClosed = true;
      }
    }
    const paper = new Paper(isTTY);
    for await (const _ of data.progress(source(), { stream: paper })) break;
    expect(isClosed).toBe(true);
    expect(paper.text).toContain("1, 0:00");
    const length = paper.text.length;
    // A bar that went on would redraw within this time.
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(paper.text.length).toBe(length);
  });

  test("an error of the source comes through and ends the bar", async () => {
    async function* source() {
      yield 1;
      throw new RangeError("no more");
    }
    const paper = new Paper(true);
    const loop = async () => {
      for await (const _ of data.progress(source(), { stream: paper }));
    };
    await expect(loop()).rejects.toThrow(RangeError);
    expect(paper.text.endsWith("\n")).toBe(true);
  });

  test("can be looped over twice", async () => {
    const paper = new Paper(false);
    const watched = data.progress(three, { stream: paper });
    for await (const _ of watched);
    for await (const _ of watched);
    expect(paper.text.match(/3\/3/g)).toHaveLength(2);
  });
});
