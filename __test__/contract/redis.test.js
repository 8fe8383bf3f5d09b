// The contract, kept by Redis.

import { redisEngine } from "../support/engines.js";
import { redisPerFile } from "../support/redis.js";
import { contract } from "./suite.js";

const server = redisPerFile();
contract(redisEngine("redis", () => ({ url: server.url })));
