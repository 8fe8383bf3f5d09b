// The contract, kept by a Redis Cluster.

import { after, before } from "node:test";
import { RedisCluster } from "../support/cluster.js";
import { redisEngine } from "../support/engines.js";
import { contract } from "./suite.js";

const cluster = new RedisCluster();
before(() => cluster.start());
after(() => cluster.stop());

contract(redisEngine("cluster", () => ({ cluster: cluster.nodes })));
