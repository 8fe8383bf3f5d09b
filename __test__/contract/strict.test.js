// The contract, kept where scripts may touch only keys that they declare.

import { after, before } from "node:test";
import { StrictServer } from "../support/strict.js";
import { redisEngine } from "./engines.js";
import { contract } from "./suite.js";

const server = new StrictServer();
before(() => server.start());
after(() => server.stop());

contract(redisEngine("a strict server", () => ({ url: server.url })));
