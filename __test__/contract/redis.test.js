// The contract, kept by Redis.

import { redisPerFile } from "../support/redis.js";
import { redisEngine } from "./engines.js";
import { contract } from "./suite.js";

const server = redisPerFile();
contract(redisEngine("redis", () => ({ url: server.url })));
