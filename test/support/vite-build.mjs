/** `node vite-build.mjs OPTIONS`: a production build as users start it, in a process of its own; prints its warnings as JSON. */
import { build } from "vite";

/** @type {string[]} */
const warnings = [];
/** @param {string} message */
const warn = (message) => void warnings.push(message);
const log = { info() {}, warn, warnOnce: warn, error: warn, clearScreen() {} };
const customLogger = { ...log, hasErrorLogged: () => false, hasWarned: false };
const options = JSON.parse(process.argv[2]);
await build({ ...options, configFile: false, logLevel: "warn", customLogger });
process.stdout.write(JSON.stringify(warnings));
