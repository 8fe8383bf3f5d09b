// Better Auth's own routes while Redis is down, by way of the example's handler: 503 with Retry-After, and other failures as they are.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startRedis } from "../support/redis.js";
import { App, ORIGIN, PASSWORD } from "./support/app.js";
import { exampleFile } from "./support/example.js";
import { versions } from "./support/versions.js";

/** A limit that asks Redis, and refuses nobody here. */
const limit = (enabled) => ({ enabled, customRules: { "/sign-in/email": { window: 60, max: 100 } } });

const post = (path, body) =>
	new Request(`${ORIGIN}/api/auth${path}`, {
		method: "POST",
		headers: { "content-type": "application/json", origin: ORIGIN },
		body: JSON.stringify(body),
	});

describe("Better Auth's own routes", () => {
	const cases = versions.flatMap((version) => [false, true].map((isLimited) => [version, isLimited]));
	for (const [version, isLimited] of cases) {
		const name = `${version.release}${isLimited ? ", with a limit of requests" : ""}`;
		test(`answer 503 while Redis is down, and only then (${name})`, async (t) => {
			const server = await startRedis();
			t.after(() => server.stop());
			const app = new App(version, { url: server.url, logger: false }, { rateLimit: limit(isLimited) });
			t.after(() => app.close());
			await app.signUp();
			const { answerAuth } = exampleFile("lib/auth-routes", { "lib/auth": app });
			const signIn = (password = PASSWORD) =>
				answerAuth(post("/sign-in/email", { email: "ada@example.com", password }));
			assert.equal((await signIn()).status, 200);
			assert.equal((await signIn("wrong password")).status, 401);

			await server.kill();
			const refused = await signIn();
			assert.equal(refused.status, 503);
			assert.equal(refused.headers.get("retry-after"), "2");

			await server.restart();
			app.statements.before = async () => {
				throw new Error("the database");
			};
			assert.equal((await signIn()).status, 500);
			app.statements.before = undefined;
			app.errors.splice(0);
		});
	}
});
