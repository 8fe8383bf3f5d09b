// Changes sessions from several sides at once, round after round, and looks whether each change is there: see changes.test.js.
//
// Every other batch each worker does all sides itself; in between, one worker sets organizations and the other does the rest.

import { seeded } from "../support/counts.js";
import { count, index, ready, report } from "../support/worker.js";
import { openApp } from "./app.js";
import { meet, now, stagger } from "./race.js";

const USERS = 4;
const SESSIONS = 6;
/** How often each session is changed: the store's memory of what it served grows with each. */
const TIMES = 6;
/** One for each time: that a change back to an earlier value counts as well has a test of its own. */
const ORGANIZATIONS = Array.from({ length: TIMES }, (_, n) => `org-${n}`);

const { place, name, refreshes, profiles, rounds } = await ready();
const random = seeded(`${name}, worker ${index}`);
const app = await openApp(place);
const verdict = {
	rounds: 0,
	organizationFirst: 0,
	lostOrganizations: 0,
	lostExpiries: 0,
	lostProfiles: 0,
	gone: 0,
	unlisted: 0,
	unexpected: [],
};

for (let batch = 0, done = 0; done < rounds; batch++) {
	const users = Array.from({ length: USERS }, (_, n) => `${name.replaceAll(" ", "-")}-${batch}-${n}`);
	app.seedUsers(users, ORGANIZATIONS);
	const signedIn = (await meet(await Promise.all(users.filter((_, n) => n % count === index).map(signIns)))).flat();
	const own = signedIn.filter((_, n) => n % count === index);
	const across = batch % 2 === 0;

	for (let time = 0; time < TIMES; time++) {
		const organization = ORGANIZATIONS[time];
		const profile = { name: `name ${batch}.${time}`, role: `role ${batch}.${time}` };
		const sets = !across || index === time % count;
		const others = !across || !sets;

		await meet();
		const did = { sets: new Map(), others: new Map(), expiries: new Map() };
		await Promise.all(
			(across ? signedIn : own).flatMap((user) => [
				...(sets ? setsOrganization(user, organization, did) : []),
				...(others ? refreshesAll(user, did) : []),
				...(others && profiles ? [changesProfile(user, profile, did)] : []),
			]),
		);

		const all = await meet(did);
		const raced = signedIn.flatMap(({ tokens }) => tokens.filter((token) => overlap(all, token)));
		done += raced.length;
		if (index === 0) {
			verdict.rounds += raced.length;
			verdict.organizationFirst += raced.filter((token) => isOrganizationFirst(all, token)).length;
		}
		for (const user of own) await check(user, organization, profile, of(all, "expiries"));
	}
	await meet();
	for (const { tokens } of own) await Promise.all(tokens.map((token) => app.signOut(token)));
}
verdict.unexpected.push(...app.logged);
await report(verdict);

async function signIns(user) {
	return { user, tokens: await Promise.all(Array.from({ length: SESSIONS }, () => app.signIn(user))) };
}

function setsOrganization({ tokens }, organization, did) {
	return tokens.map((token) => timed(did.sets, [token], () => app.setOrganization(token, organization)));
}

function refreshesAll({ tokens }, did) {
	return tokens.flatMap((token) =>
		Array.from({ length: refreshes }, () =>
			timed(did.others, [token], async () => {
				const { session } = await app.refresh(token);
				did.expiries.set(token, Math.max(session.expiresAt.getTime(), did.expiries.get(token) ?? 0));
			}),
		),
	);
}

function changesProfile({ tokens }, profile, did) {
	return timed(did.others, tokens, () => app.updateProfile(random.pick(tokens), profile));
}

/** Runs an operation a moment later. Nothing ends a session here, so nothing may fail. */
async function timed(spans, tokens, operation) {
	await stagger(random);
	const start = now();
	await operation().catch((error) => verdict.unexpected.push(error.stack));
	for (const token of tokens) spans.set(token, [...(spans.get(token) ?? []), [start, now()]]);
}

function of(all, what) {
	return new Map(all.flatMap((did) => [...did[what]]));
}

function overlap(all, token) {
	const [[start, end]] = of(all, "sets").get(token);
	return of(all, "others")
		.get(token)
		.some((other) => start < other[1] && other[0] < end);
}

function isOrganizationFirst(all, token) {
	const [[start]] = of(all, "sets").get(token);
	return of(all, "others")
		.get(token)
		.every((other) => start < other[0]);
}

async function check({ user, tokens }, organization, profile, expiries) {
	const [lying, scores] = await Promise.all([app.lying(tokens), app.index(user)]);
	tokens.forEach((token, n) => {
		if (typeof lying[n] !== "object") {
			verdict.gone++;
			return;
		}
		const { session, user: owner } = lying[n];
		const expiresAt = Date.parse(session.expiresAt);
		if (session.activeOrganizationId !== organization) verdict.lostOrganizations++;
		if (refreshes && expiresAt !== expiries.get(token)) verdict.lostExpiries++;
		if (profiles && (owner.name !== profile.name || owner.role !== profile.role)) verdict.lostProfiles++;
		// The score is told by Redis's clock and the record by ours.
		if (!(scores.get(token) > expiresAt - 1000)) verdict.unlisted++;
	});
}
