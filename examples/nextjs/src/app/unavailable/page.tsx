import type { Metadata } from "next";
import { Unavailable } from "@/components/unavailable";

export const metadata: Metadata = { title: "One moment" };

export default function Page() {
	return <Unavailable />;
}
