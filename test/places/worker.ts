import { train } from "./program.ts";

// No `await` at the top level: Vite's default format for workers has none.
void train().then((outcome) => postMessage(outcome));
