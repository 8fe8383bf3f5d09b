// The example's route that says who asks, while Redis is down: 503 with Retry-After, as its other routes, and no sign-out.

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { sessionGate } from "better-auth-redis-store/gate";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";
import { App, ORIGIN } from "./support/app.js";
import { exampleFile } from "./support/example.js";
import { versions } from "./support/versions.js";

test("GET /api/me answers 503 while Redis is down, and who asks before and after", async (t) => {
	const server = await startRedis({ config: ["appendonly yes", "appendfsync always"] });
	t.after(() => server.stop());
	const app = new App(versions.at(-1), { url: server.url, logger: false, nearCache: false });
	t.after(() => app.close());
	const ada = await app.signUp();
	const { GET } = exampleFile("app/api/me/route", {
		"lib/server": { serverName: "server 1" },
		"lib/session": { getSession: sessionGate(app.auth, app.storage) },
	});
	const ask = (cookie) => GET(new Request(`${ORIGIN}/api/me`, { headers: cookie ? { cookie } : {} }));

	assert.equal((await ask()).status, 401);
	const known = await ask(ada.cookieHeader);
	const { email } = await known.json();
	assert.deepEqual([known.status, email], [200, "ada@example.com"]);

	const log = mock.method(console, "error", () => {});
	t.after(() => log.mock.restore());
	await server.kill();
	const refused = await ask(ada.cookieHeader);
	assert.equal(refused.status, 503);
	assert.equal(refused.headers.get("retry-after"), "2");
	assert.deepEqual(refused.headers.getSetCookie(), []);
	assert.equal((await ask()).status, 401, "without a cookie nobody needs Redis");
	assert.match(String(log.mock.calls[0].arguments[1]), /UNAVAILABLE|cannot be reached/);

	await server.restart();
	await until("an answer", async () => (await ask(ada.cookieHeader)).status === 200);
	app.errors.splice(0);
});
