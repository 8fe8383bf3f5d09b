// Random operations from several processes: see model.js.

import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { holdsInvariants } from "./model.js";

seeded("model"); // sets the seed, so that all workers share it
const redis = redisPerFile();

test("the invariants hold after random operations from three processes", (t) =>
	holdsInvariants(t, { url: redis.url }, rounds(2000, 70_000)));
