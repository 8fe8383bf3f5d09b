// The contract, kept by the embedded engine.

import { memoryEngine } from "../support/engines.js";
import { contract } from "./suite.js";

contract(memoryEngine);
