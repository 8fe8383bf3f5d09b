"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";

const PAGES = [
	["/dashboard", "Dashboard"],
	["/devices", "Devices"],
] as const;

export function Navigation() {
	const path = usePathname();
	return (
		<nav aria-label="Pages">
			{PAGES.map(([href, title]) => (
				<Link key={href} href={href} aria-current={path === href ? "page" : undefined}>
					{title}
				</Link>
			))}
		</nav>
	);
}
