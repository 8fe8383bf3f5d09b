// Better Auth's own routes while Redis is down, by way of the example's handler: 503 with Retry-After, and other failures as they are.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { startRedis } from "../support/redis.js";
import { App, ORIGIN, PASSWORD } from "./support/app.js";
import { exampleFile } from "./support/example.js";
import { versions } from "./support/versions.js";

/** What was acknowledged is on the disk, and comes back. */
const DURABLE = ["appendonly yes", "appendfsync always"];

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

describe("docs/troubleshooting.md: the answers of Better Auth's own routes during an outage", () => {
	for (const isLimited of [false, true]) {
		test(isLimited ? "with a rate limit the handler rejects" : "without a rate limit", async (t) => {
			const server = await startRedis({ config: DURABLE });
			t.after(() => server.stop());
			const rateLimit = { enabled: isLimited, max: 1000 };
			const app = new App(versions.at(-1), { url: server.url, nearCache: false, logger: false }, { rateLimit });
			t.after(() => app.close());
			const device = await app.signUp();
			const { cookieHeader: cookie, token } = device;
			const headers = { "content-type": "application/json", origin: ORIGIN, cookie };
			const answer = async (path, body) => {
				const init = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
				const response = await app.auth.handler(new Request(`${ORIGIN}/api/auth${path}`, init));
				return [response.status, response.headers.getSetCookie().length > 0];
			};
			const routes = [
				["/get-session", undefined, [500, false]],
				["/sign-in/email", { email: "ada@example.com", password: PASSWORD }, [500, false]],
				["/list-sessions", undefined, [401, false]],
				["/change-password", { currentPassword: PASSWORD, newPassword: `${PASSWORD}!` }, [401, false]],
				["/update-user", { name: "Ada" }, [401, false]],
				["/revoke-sessions", {}, [401, false]],
				["/sign-out", {}, [200, true]],
			];

			await server.kill();
			for (const [path, body, expected] of routes) {
				if (isLimited) await assert.rejects(answer(path, body), { code: "UNAVAILABLE" }, path);
				else assert.deepEqual(await answer(path, body), expected, path);
			}
			await server.restart();
			assert.equal(JSON.parse(await app.storage.get(token)).session.token, token, "the session stays valid");
			app.errors.splice(0);
		});
	}
});
