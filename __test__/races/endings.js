// A race of ends against writes (endings.worker.js), on the storage that is named: run by the tests, and for comparison.

import { runWorkers, sum } from "./race.js";

/**
 * @param {import("./app.js").Place} place
 * @param {{ ending: string, write: string, rounds: number }} race as endings.worker.js calls them; a round is one session
 * @returns {Promise<{ sessions: number, rounds: number, late: number, alive: number, listed: number, left: number, back: number, unexpected: string[] }>}
 * sessions that were ended; rounds whose two operations overlapped; those of them where the write was done during the end or later;
 * and of the sessions those that Better Auth takes, that are in their user's index, that are no tombstone, that are a record when all is over
 */
export async function raceEndings(place, race) {
	return sum(await runWorkers("endings.worker.js", 2, { place, ...race }));
}
