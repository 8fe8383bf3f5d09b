// The contract, kept by the embedded engine.

import { memoryEngine } from "./engines.js";
import { contract } from "./suite.js";

contract(memoryEngine);
