// The contract, kept where one endpoint leads to many shards.

import { after, before } from "node:test";
import { redisEngine } from "../support/engines.js";
import { ShardedEndpoint } from "../support/strict.js";
import { contract } from "./suite.js";

const endpoint = new ShardedEndpoint();
before(() => endpoint.start());
after(() => endpoint.stop());

contract(redisEngine("an endpoint of shards", () => ({ url: endpoint.url })));
