import type { Metadata } from "next";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { AskServers } from "@/components/ask-servers";
import { checksSoFar } from "@/lib/checks";
import { serverName } from "@/lib/server";
import { getPageSession } from "@/lib/session";

export const metadata: Metadata = { title: "Dashboard" };

export default async function Dashboard() {
	const requestHeaders = await headers();
	const start = performance.now();
	const session = await getPageSession(requestHeaders);
	const microseconds = (performance.now() - start) * 1000;
	if (!session) redirect("/sign-in");

	// A server's first check waits until Better Auth is ready and Redis connected.
	const took =
		microseconds < 1000
			? { value: microseconds.toFixed(microseconds < 10 ? 1 : 0), unit: "µs" }
			: { value: (microseconds / 1000).toFixed(1), unit: "ms" };
	const { total, fast } = checksSoFar();
	return (
		<>
			<h1>Hello, {session.user.name}</h1>
			<p className="lead">
				You are signed in as <strong data-testid="email">{session.user.email}</strong>, on every server.
			</p>
			<dl className="tiles">
				<div>
					<dt>This page came from</dt>
					<dd data-testid="server">{serverName}</dd>
				</div>
				<div>
					<dt>The session check took</dt>
					<dd>
						{took.value} <small>{took.unit}</small>
					</dd>
				</div>
				<div>
					<dt>Checks by the gate</dt>
					<dd>
						<span data-testid="fast">{((100 * fast) / total).toFixed(1)}</span> <small>% of {total}</small>
					</dd>
				</div>
			</dl>
			<AskServers />
		</>
	);
}
