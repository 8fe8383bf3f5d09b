// Signs one user in many times at once, then ends all sessions but one: see sign-ins.test.js.

import { seeded } from "../support/counts.js";
import { count, index, ready, report } from "../support/worker.js";
import { OURS, openApp } from "./app.js";
import { meet, stagger } from "./race.js";

const { place, times, signIns } = await ready();
const random = seeded(`sign-ins, worker ${index}`);
const app = await openApp(place);
const dead = place.kind === OURS ? "ended" : "gone";
const verdict = {
	signedIn: 0,
	unlisted: 0,
	unlistedByStore: 0,
	unindexed: 0,
	survivors: 0,
	left: 0,
	stillListed: 0,
	lostTheOne: 0,
	unexpected: [],
};

for (let time = 0; time < times; time++) {
	const user = `many-${time}`;
	app.seedUsers([user]);
	await meet();
	const mine = await Promise.all(Array.from({ length: signIns / count }, () => signsIn(user)));
	const tokens = (await meet(mine)).flat();
	const kept = tokens[(time * 7) % tokens.length];
	if (index === time % count) await checkListed(user, tokens, kept);
	await meet();
	if (index === (time + 1) % count) await app.revokeOthers(kept);
	await meet();
	if (index === (time + 2) % count) await checkEnded(user, tokens, kept);
}
verdict.unexpected.push(...app.logged);
await report(verdict);

async function signsIn(user) {
	await stagger(random);
	return app.signIn(user);
}

async function checkListed(user, tokens, kept) {
	const [listed, byStore, indexed] = await Promise.all([
		app.listed(kept),
		app.sessions?.getUserSessions(user).then((sessions) => sessions.map(({ token }) => token)),
		app.index(user),
	]);
	verdict.signedIn += new Set(tokens).size;
	verdict.unlisted += missing(tokens, new Set(listed));
	verdict.unlistedByStore += byStore ? missing(tokens, new Set(byStore)) : 0;
	verdict.unindexed += missing(tokens, indexed);
}

async function checkEnded(user, tokens, kept) {
	const others = tokens.filter((token) => token !== kept);
	const [lying, looks, indexed] = await Promise.all([
		app.lying(others),
		Promise.all(others.map((token) => app.look(token))),
		app.index(user),
	]);
	verdict.survivors += looks.filter((look) => look !== null).length;
	verdict.left += lying.filter((found) => found !== dead).length;
	verdict.stillListed += others.length - missing(others, indexed);
	if ((await app.look(kept)) === null || (await app.listed(kept)).join() !== kept) verdict.lostTheOne++;
}

function missing(tokens, found) {
	return tokens.filter((token) => !found.has(token)).length;
}
