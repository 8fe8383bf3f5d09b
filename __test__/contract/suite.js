// The contract: what every engine promises. Each test opens a store that is empty and is its own.

import { describe } from "node:test";
import { ending } from "./ending.js";
import { indexes } from "./indexes.js";
import { keyspace } from "./keyspace.js";
import { merging } from "./merging.js";
import { sessions } from "./sessions.js";
import { values } from "./values.js";

/** @param {import("../support/engines.js").Engine} engine */
export function contract(engine) {
	// Several at a time: many wait for a second to pass, and none sees another's data.
	describe(`on ${engine.name}`, { concurrency: 8 }, () => {
		values(engine);
		sessions(engine);
		merging(engine);
		ending(engine);
		indexes(engine);
		keyspace(engine);
	});
}
