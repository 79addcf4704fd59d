import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

/** Tests that measure time: they run last and with nothing beside them. */
const timed = ["test/package.test.ts"];

/** Tests that install, bundle and drive a browser: alone, after all others. */
const places = ["test/places.test.ts"];

const shared: NonNullable<TestProjectInlineConfiguration["test"]> = {
  environment: "node",
  setupFiles: ["test/support/no-console.ts"],
  // Processes, not threads: the wasm backend starts threads of its own, and a crash must not take other files along.
  pool: "forks",
  testTimeout: 30_000,
  hookTimeout: 30_000,
};

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...shared,
          name: "all",
          include: ["test/**/*.test.ts"],
          exclude: [...timed, ...places],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: "alone",
          include: timed,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...shared,
          name: "places",
          include: places,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
