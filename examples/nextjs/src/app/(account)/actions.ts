"use server";

import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { auth } from "@/lib/auth";

/** Ends this session. `nextCookies()` takes its cookie away. */
export async function signOut() {
	await auth.api.signOut({ headers: await headers() });
	redirect("/sign-in");
}
