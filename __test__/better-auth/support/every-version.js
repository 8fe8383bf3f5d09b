// Declares a test once for every Better Auth release and both engines.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, test } from "node:test";
import { App } from "./app.js";
import { assertEnded, assertKeys, assertSound } from "./store-contents.js";
import { versions } from "./versions.js";

/**
 * @typedef {object} Ground what a test gets
 * @property {App} app a new application over an empty store
 * @property {import("./versions.js").Version} version
 * @property {import("../../support/redis.js").RedisServer | undefined} server undefined on the embedded engine
 * @property {(keys: string[]) => Promise<void>} keysAre
 * @property {(...sessions: { token: string, json: string }[]) => Promise<void>} ended
 *
 * @typedef {object} Conditions
 * @property {(version: import("./versions.js").Version) => object} [options] Better Auth's
 * @property {(version: import("./versions.js").Version) => string | undefined} [lacks] why a release cannot be asked this
 * @property {(version: import("./versions.js").Version) => (name: string) => boolean} [immortal] the keys that a
 * release stores without an expiry
 * @property {("memory" | "Redis")[]} [engines] when the test needs to look into one
 */

/**
 * @param {import("../../support/redis.js").RedisServer} redis the file's server
 * @returns {(what: string, run: (ground: Ground) => Promise<void>, conditions?: Conditions) => void}
 */
export function everyVersion(redis) {
	return (what, run, { options, lacks, immortal, engines = ["memory", "Redis"] } = {}) => {
		describe(what, () => {
			for (const version of versions) {
				for (const engine of engines) {
					const reason = lacks?.(version);
					const name = `Better Auth ${version.release} on ${engine}`;
					test(reason ? `${name} (${reason})` : name, { skip: reason }, async (t) => {
						const server = engine === "Redis" ? redis : undefined;
						await server?.cli("FLUSHALL");
						const app = new App(version, server?.url ?? `memory://${randomUUID()}`, options?.(version));
						t.after(() => app.close());
						await run({
							app,
							version,
							server,
							keysAre: (keys) => assertKeys(app, server, keys),
							ended: async (...sessions) => {
								for (const session of sessions) await assertEnded(app, server, session);
							},
						});
						assert.deepEqual(app.errors, [], "Better Auth logged an error");
						if (server) await assertSound(server, immortal?.(version));
					});
				}
			}
		});
	};
}
