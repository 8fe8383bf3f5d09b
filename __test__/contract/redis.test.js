// The contract, kept by Redis.

import { redisPerFile } from "../support/redis.js";
import { redisEngine } from "./engines.js";
import { contract } from "./suite.js";

contract(redisEngine(redisPerFile()));
