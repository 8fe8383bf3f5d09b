import type { Metadata } from "next";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { browserOf } from "@/lib/browser";
import { lastUses } from "@/lib/last-use";
import { redisSessionStore } from "@/lib/redis-session-store";
import { getPageSession } from "@/lib/session";
import { DeviceList } from "./device-list";

export const metadata: Metadata = { title: "Devices" };

export default async function Devices() {
	const current = await getPageSession(await headers());
	if (!current) redirect("/sign-in");
	const { id: userId } = current.user;
	const [sessions, uses] = await Promise.all([redisSessionStore.getUserSessions(userId), lastUses(userId)]);
	const devices = sessions
		.map(({ id, ipAddress, userAgent, createdAt }) => ({
			id: String(id),
			browser: browserOf(userAgent),
			ipAddress: ipAddress || "Unknown address",
			isThis: id === current.session.id,
			use: uses.get(id) ?? { at: createdAt ?? new Date(), server: undefined },
		}))
		.sort((a, b) => Number(b.isThis) - Number(a.isThis) || b.use.at.getTime() - a.use.at.getTime())
		.map(({ use: { at, server }, ...device }) => ({
			...device,
			lastUsedAt: at.toISOString(),
			lastUse: server ? `${ago(at)} on ${server}` : ago(at),
		}));

	return (
		<>
			<h1>Devices</h1>
			<p className="lead">Where you are signed in. Whatever you sign out here is out on every server at once.</p>
			<DeviceList devices={devices} />
		</>
	);
}

const UNITS = [
	["day", 24 * 60 * 60 * 1000],
	["hour", 60 * 60 * 1000],
	["minute", 60 * 1000],
] as const;

/** "3 minutes ago" */
function ago(time: Date): string {
	const passedMs = Date.now() - time.getTime();
	const [unit, ms] = UNITS.find(([, ms]) => passedMs >= ms) ?? [];
	if (!unit || !ms) return "just now";
	return new Intl.RelativeTimeFormat("en").format(-Math.floor(passedMs / ms), unit);
}
