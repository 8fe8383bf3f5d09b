/**
 * Replaces every entry in runtimes without Node.js: edge runtimes, Cloudflare Workers, browsers (package.json's conditions
 * `edge-light`, `workerd`, `browser`). It has the names of the real entries, so that a bundler reaches the error.
 */

const missing = undefined as never;

export {
	missing as RedisSessionStore,
	missing as redisSessionStore,
	missing as redisStorage,
	missing as SessionStoreError,
	missing as sessionGate,
};

throw new Error(
	"better-auth-redis-store needs the Node.js runtime: it is a native addon, and this code runs in an edge runtime, in a worker or in " +
		"a browser. In Next.js, use it in proxy.ts (which runs on Node.js), in server components, actions and route handlers without " +
		'`runtime = "edge"`; in a middleware.ts, only with `config.runtime = "nodejs"`. Where there is no Node.js, getSessionCookie from ' +
		'"better-auth/cookies" tells whether there is a session cookie at all; check the session itself on the server.',
);
