// A test file for Vitest and for Jest (test-runners.test.js): a store of its own, used and closed.

import { appendFileSync } from "node:fs";
import { basename } from "node:path";
import { redisStorage } from "better-auth-redis-store";
import { text } from "./text.mjs";

let storage;
beforeAll(() => {
	storage = redisStorage(process.env.STORE_URL);
});
afterAll(() => storage.close());

test("a value comes back", async () => {
	await storage.set("key", text, 60);
	expect(await storage.get("key")).toBe(text);
	appendFileSync(process.env.LOG, `${process.env.POOL} ${basename(import.meta.url)} ${text}\n`);
});
