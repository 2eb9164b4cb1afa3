// What the page is and what all of its parts share. They make up one function, in the order of page.py.
// All that comes from the API becomes a text node, a property of a field or a number. There is no markup made of text.
const $ = (id) => document.getElementById(id);
const NOW_MS = 2000, STORE_MS = 30000, PAGE = 100, ROW = 28, OVERSCAN = 12, MAX_PAGES = 60;
const HITS = ["hit", "stale"], NS = "http://www.w3.org/2000/svg";
let token = "", caches = [], number = 0, bounds = null, paused = false;
let workers = new Map(), chosen = "", lastStore = 0;
