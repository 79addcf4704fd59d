import { backends } from "../support/backends.ts";
import { runContract } from "./backend.ts";

for (const { name, make } of backends) runContract(name, make);
