/** A worker that is not there by then is no longer waited for, in ms; in Chromium it takes about 50. */
const patienceMs = 1000;

/**
 * Seats of workers that were started and have not been heard of. A page starts a worker in turns of its event loop, which a
 * program that only ever awaits what is ready never gives it.
 */
export class Arrivals {
  readonly #seats = new Set<number>();

  get size(): number {
    return this.#seats.size;
  }

  expect(seat: number): void {
    this.#seats.add(seat);
  }

  /** Whether the seat was waited for. */
  drop(seat: number): boolean {
    return this.#seats.delete(seat);
  }

  clear(): void {
    this.#seats.clear();
  }

  /** Gives the event loop its turns until every worker is present or dropped, for a second at most. */
  async settle(isPresent: (seat: number) => boolean): Promise<void> {
    const end = performance.now() + patienceMs;
    while (this.#seats.size > 0 && performance.now() < end) {
      await new Promise((resume) => setTimeout(resume));
      for (const seat of this.#seats) if (isPresent(seat)) this.#seats.delete(seat);
    }
    this.#seats.clear();
  }
}
