import { headers } from "next/headers";
import Link from "next/link";
import { redirect } from "next/navigation";
import { after } from "next/server";
import type { ReactNode } from "react";
import { Mark } from "@/components/mark";
import { Navigation } from "@/components/navigation";
import { SessionKeeper } from "@/components/session-keeper";
import { noteUse } from "@/lib/last-use";
import { getPageSession } from "@/lib/session";
import { signOut } from "./actions";

export default async function Layout({ children }: { children: ReactNode }) {
	const session = await getPageSession(await headers());
	if (!session) redirect("/sign-in");
	after(() => noteUse(session.session));
	return (
		<>
			<header className="bar">
				<Link href="/dashboard" className="brand">
					<Mark /> <span>Sessions in Redis</span>
				</Link>
				<Navigation />
				<form action={signOut}>
					<button type="submit" className="quiet">
						Sign out
					</button>
				</form>
			</header>
			<main id="main">{children}</main>
			<SessionKeeper />
		</>
	);
}
