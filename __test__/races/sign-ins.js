// A race of sign-ins (sign-ins.worker.js), on the storage that is named: run by the test, and for comparison.

import { runWorkers, sum } from "./race.js";

/**
 * @param {import("./app.js").Place} place
 * @param {{ times: number, signIns: number }} race how many users, and how many sign-ins at once of each, by four processes
 * @returns {Promise<Record<"signedIn" | "unlisted" | "unlistedByStore" | "unindexed" | "survivors" | "left" | "stillListed" | "lostTheOne", number>
 * & { unexpected: string[] }>} sessions that were not listed by Better Auth, by getUserSessions, in the index; sessions that live on, are no
 * tombstones, are in the index after a revoke-other-sessions from one of them; and how often that one was not the only one listed
 */
export async function raceSignIns(place, race) {
	return sum(await runWorkers("sign-ins.worker.js", 4, { place, ...race }));
}
