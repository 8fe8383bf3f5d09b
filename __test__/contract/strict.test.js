// The contract, kept where scripts may touch only keys that they declare.

import { after, before } from "node:test";
import { redisEngine } from "../support/engines.js";
import { StrictServer } from "../support/strict.js";
import { contract } from "./suite.js";

const server = new StrictServer();
before(() => server.start());
after(() => server.stop());

contract(redisEngine("a strict server", () => ({ url: server.url })));
