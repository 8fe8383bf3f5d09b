// The same races on the storage that Better Auth offers, beside ours: a table to read. It also shows that the races are real:
// where a storage takes no care of them, sessions do get lost from the list and do come back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { startRedis } from "../support/redis.js";
import { OFFICIAL, OURS } from "./app.js";
import { raceEndings } from "./endings.js";
import { raceSignIns } from "./sign-ins.js";

const RACES = [
	["sign-out", "update-user"],
	["sign-out", "refresh"],
	["sign-out", "set-active"],
	["revoke-sessions", "refresh"],
];

seeded("official"); // sets the seed, so that all workers share it

test("the races on this store and on @better-auth/redis-storage", async () => {
	const columns = [];
	for (const kind of [OURS, OFFICIAL]) columns.push(await column(kind));

	const rows = columns[0].map(([name], n) => [name, ...columns.map((cells) => cells[n][1])]);
	const lines = [["", OURS, OFFICIAL], ...rows].map(
		([name, ...cells]) => name.padEnd(70) + cells.map((cell) => cell.padStart(30)).join(""),
	);
	console.log(lines.join("\n"));
	assert.equal(rows.length, 2 + 2 * RACES.length);
});

/** What goes wrong on one storage: names and figures. */
async function column(kind) {
	const redis = await startRedis();
	try {
		const place = { url: redis.url, kind };
		const signIns = await raceSignIns(place, { times: rounds(1, 5), signIns: rounds(100, 200) });
		const others = signIns.signedIn - rounds(1, 5);
		const cells = [
			["sign-ins at once: not listed", share(signIns.unlisted, signIns.signedIn)],
			["revoke-other-sessions: others that live on", share(signIns.survivors, others)],
		];
		for (const [ending, write] of RACES) {
			const seen = await raceEndings(place, { ending, write, rounds: rounds(30, 1000) });
			cells.push([`${ending} against ${write}: came back`, share(seen.alive, seen.sessions)]);
			cells.push([`${ending} against ${write}: dead, and record or entry stays`, share(rest(seen), seen.sessions)]);
		}
		return cells;
	} finally {
		await redis.stop();
	}
}

/** Ended sessions of which something stays in Redis for their whole life. */
function rest({ left, listed, alive }) {
	return Math.max(left, listed) - alive;
}

function share(count, of) {
	return `${count} of ${of}`;
}
