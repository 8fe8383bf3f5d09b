// Tokens as strangers make them up: whatever a cookie, a bearer header or a link holds, the request is answered as one without a session.

import assert from "node:assert/strict";
import { redisPerFile } from "../support/redis.js";
import { ORIGIN } from "./support/app.js";
import { everyVersion } from "./support/every-version.js";

const everywhere = everyVersion(redisPerFile());

const TOKENS = [
	"x".repeat(4097),
	"x".repeat(600),
	"nul%00byte",
	"%ED%A0%80",
	"\u00ff".repeat(300),
	"active-sessions-nobody",
];

everywhere(
	"a made-up bearer token does not sign in, and leaves nothing when it is signed out",
	async ({ app, server }) => {
		const headers = (token) => ({
			origin: ORIGIN,
			"content-type": "application/json",
			authorization: `Bearer ${token}`,
		});
		for (const token of TOKENS) {
			const look = new Request(`${ORIGIN}/api/auth/get-session`, { headers: headers(token) });
			const answer = await app.auth.handler(look);
			assert.equal(answer.status, 200, token.slice(0, 20));
			assert.equal(await answer.json(), null);
			const leave = new Request(`${ORIGIN}/api/auth/sign-out`, { method: "POST", headers: headers(token), body: "{}" });
			assert.equal((await app.auth.handler(leave)).status, 200);
		}
		const link = { token: "x".repeat(4097), newPassword: "a new horse, a new battery" };
		assert.equal((await app.device().send("/reset-password", link)).status, 400);
		if (server) assert.ok((await server.cli("DBSIZE")) <= TOKENS.length);
		app.errors.splice(0);
	},
	{ options: ({ plugins }) => ({ plugins: [plugins.bearer()], rateLimit: { enabled: false } }) },
);
