// The packages as strangers get them: released into a registry, installed from it by each package manager, used.

import { after, before, describe } from "node:test";
import { redisPerFile } from "../support/redis.js";
import { absence } from "./absence.js";
import { managers } from "./managers.js";
import { modules } from "./modules.js";
import { published } from "./published.js";
import { Release } from "./release.js";

const release = new Release();
const redis = redisPerFile();
before(async () => {
	await release.prepare();
	await release.publish();
});
after(() => release.end());

describe("the published packages:", () => published(release));
describe("the package installed by", () => managers(release, redis));
describe("the package used from", () => modules(release, redis));
describe("the package without a binary:", () => absence(release));
