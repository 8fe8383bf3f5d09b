"use client";

import { Unavailable } from "@/components/unavailable";

/** Redis went away between proxy.ts and the page. */
export default function ErrorPage() {
	return <Unavailable />;
}
