// Package forge is damaged and forged copies of evidence, made to show that
// each of them is refused with the thing named.
//
// Damage is one flipped bit in each kind of file. Forgeries have right hashes
// wherever hashes can be made right without a secret of the run: what gives
// them away is a signature that a stranger cannot make. No case needs any key
// but a stranger's. Tests and `allmend demo` run the same list; see
// docs/threat-model.md for which check catches what.
package forge
