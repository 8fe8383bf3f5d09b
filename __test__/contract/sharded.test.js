// The contract, kept where one endpoint leads to many shards.

import { after, before } from "node:test";
import { ShardedEndpoint } from "../support/strict.js";
import { redisEngine } from "./engines.js";
import { contract } from "./suite.js";

const endpoint = new ShardedEndpoint();
before(() => endpoint.start());
after(() => endpoint.stop());

contract(redisEngine("an endpoint of shards", () => ({ url: endpoint.url })));
