/** Files go to the service two at a time: one is received while another is looked at, and the rest wait here. */

const AT_A_TIME = 2;

let inside = 0;
const waiting: (() => void)[] = [];

export interface Turn {
  /** Resolves when it has come; false where it was given up. */
  readonly come: Promise<boolean>;
  /** Gives the turn back, or the wait up. */
  end(): void;
}

export function takeTurn(): Turn {
  let [over, has] = [false, false];
  let settle: (come: boolean) => void = () => undefined;
  const come = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  const enter = (): void => {
    if (over) {
      next();
      return;
    }
    inside += 1;
    has = true;
    settle(true);
  };
  const end = (): void => {
    if (over) return;
    over = true;
    settle(false);
    if (!has) return;
    inside -= 1;
    next();
  };
  if (inside < AT_A_TIME) enter();
  else waiting.push(enter);
  return { come, end };
}

function next(): void {
  if (inside < AT_A_TIME) waiting.shift()?.();
}
