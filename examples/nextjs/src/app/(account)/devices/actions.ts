"use server";

import { revalidatePath } from "next/cache";
import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { redisSessionStore } from "@/lib/redis-session-store";
import { getSession } from "@/lib/session";

/** Ends the session of the user that `id` names; without one, all but this. Resolves to what a person is told of it. */
export async function endSessions(_before: string, data: FormData): Promise<string> {
	const current = await getSession(await headers());
	if (!current) redirect("/sign-in");
	const id = data.get("id");
	const ended = id === null ? await endOthers(current.session) : await endOne(current.user.id, id);
	revalidatePath("/devices");
	return ended === 1 ? "One device was signed out." : `${ended} devices were signed out.`;
}

/** Tokens stay on the server: the browser names a session by its id. */
async function endOne(userId: string, id: FormDataEntryValue): Promise<number> {
	const session = (await redisSessionStore.getUserSessions(userId)).find((session) => session.id === id);
	if (!session) return 0;
	await redisSessionStore.deleteSession(session.token);
	return 1;
}

function endOthers({ userId, token }: { userId: string; token: string }): Promise<number> {
	return redisSessionStore.deleteUserSessions(userId, { except: token });
}
