// withRedisStore: what becomes of a configuration of Next.js, and that reading one loads no addon.

import assert from "node:assert/strict";
import { test } from "node:test";
import { withRedisStore } from "better-auth-redis-store/next";
import { runText } from "../support/child.js";

const PACKAGE = "better-auth-redis-store";

test("withRedisStore takes an empty configuration, or none", () => {
	assert.deepEqual(withRedisStore(), { serverExternalPackages: [PACKAGE] });
	assert.deepEqual(withRedisStore({}), { serverExternalPackages: [PACKAGE] });
});

test("withRedisStore keeps the other settings, and does not change the caller's object", () => {
	const config = Object.freeze({ reactStrictMode: true, serverExternalPackages: Object.freeze(["pino"]) });
	assert.deepEqual(withRedisStore(config), { reactStrictMode: true, serverExternalPackages: ["pino", PACKAGE] });
});

test("withRedisStore names the package once, however often it is added", () => {
	const config = { serverExternalPackages: [PACKAGE, "pino"] };
	assert.deepEqual(withRedisStore(withRedisStore(config)).serverExternalPackages, [PACKAGE, "pino"]);
});

for (const [name, config] of [
	["a function", (phase, { defaultConfig }) => ({ env: { phase }, ...defaultConfig })],
	["an async function", async (phase, { defaultConfig }) => ({ env: { phase }, ...defaultConfig })],
]) {
	test(`withRedisStore: ${name} gets the phase and the context of Next.js`, async () => {
		const context = { defaultConfig: { poweredByHeader: false, serverExternalPackages: ["pino"] } };
		assert.deepEqual(await withRedisStore(config)("phase-production-build", context), {
			env: { phase: "phase-production-build" },
			poweredByHeader: false,
			serverExternalPackages: ["pino", PACKAGE],
		});
	});
}

test("withRedisStore refuses anything else, also when a function returns it", async () => {
	for (const config of [null, "standalone", 1]) {
		assert.throws(() => withRedisStore(config), { code: "INVALID_ARGUMENT", message: /^config: / });
		await assert.rejects(withRedisStore(() => config)("phase", {}), { code: "INVALID_ARGUMENT" });
	}
});

test("reading a configuration with withRedisStore loads no addon", async () => {
	const load = (entry) => runText(`process.dlopen = () => { throw new Error("addon"); }; await import("${entry}");`);
	const [next, index] = await Promise.all([load(`${PACKAGE}/next`), load(PACKAGE)]);
	assert.deepEqual([next.code, next.stderr], [0, ""]);
	assert.notEqual(index.code, 0, "the guard of this test: an entry that does load it fails");
});
