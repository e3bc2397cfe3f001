#include "textflag.h"

// One step of k: Y0 and Y1 hold 16 elements of a row of B; each element of a column of A multiplies them.
#define ROW(offset, broadcast, left, right) \
	VBROADCASTSS offset(AX), broadcast \
	VFMADD231PS  Y0, broadcast, left   \
	VFMADD231PS  Y1, broadcast, right

#define STEP(aOffset, bOffset) \
	VMOVUPS bOffset(BX), Y0         \
	VMOVUPS bOffset(BX)(R11*1), Y1  \
	ROW(aOffset+0, Y2, Y4, Y5)      \
	ROW(aOffset+4, Y3, Y6, Y7)      \
	ROW(aOffset+8, Y2, Y8, Y9)      \
	ROW(aOffset+12, Y3, Y10, Y11)   \
	ROW(aOffset+16, Y2, Y12, Y13)   \
	ROW(aOffset+20, Y3, Y14, Y15)

// func tiles6x16(tiles, depth int, a *float32, aStride int, b *float32, bStride int, c *float32, ldc int, load bool)
//
// Tiles of 6×16 one below the other. R8 tiles left, SI panel of A, DI and DI+R11 panels of B, DX tile of C; twelve
// sums stay in Y4…Y15 over the whole depth, so each takes its products in ascending k.
TEXT ·tiles6x16(SB), NOSPLIT, $0-65
	MOVQ    tiles+0(FP), R8
	MOVQ    a+16(FP), SI
	MOVQ    aStride+24(FP), R10
	MOVQ    b+32(FP), DI
	MOVQ    bStride+40(FP), R11
	MOVQ    c+48(FP), DX
	MOVQ    ldc+56(FP), CX
	MOVBLZX load+64(FP), R13

tile:
	LEAQ (CX)(CX*2), R12
	ADDQ DX, R12         // row 3
	LEAQ (R12)(CX*2), AX
	ADDQ CX, AX          // row 0 of the next tile

	PREFETCHT0 (AX)
	PREFETCHT0 (AX)(CX*1)
	PREFETCHT0 (AX)(CX*2)
	LEAQ       (AX)(CX*2), AX
	ADDQ       CX, AX
	PREFETCHT0 (AX)
	PREFETCHT0 (AX)(CX*1)
	PREFETCHT0 (AX)(CX*2)

	TESTL R13, R13
	JZ    zero
	VMOVUPS (DX), Y4
	VMOVUPS 32(DX), Y5
	VMOVUPS (DX)(CX*1), Y6
	VMOVUPS 32(DX)(CX*1), Y7
	VMOVUPS (DX)(CX*2), Y8
	VMOVUPS 32(DX)(CX*2), Y9
	VMOVUPS (R12), Y10
	VMOVUPS 32(R12), Y11
	VMOVUPS (R12)(CX*1), Y12
	VMOVUPS 32(R12)(CX*1), Y13
	VMOVUPS (R12)(CX*2), Y14
	VMOVUPS 32(R12)(CX*2), Y15
	JMP     multiply

zero:
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	VXORPS Y12, Y12, Y12
	VXORPS Y13, Y13, Y13
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15

multiply:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ depth+8(FP), R9
	SUBQ $4, R9
	JL   tail

four:
	STEP(0, 0)
	STEP(24, 32)
	STEP(48, 64)
	STEP(72, 96)
	ADDQ $96, AX
	ADDQ $128, BX
	SUBQ $4, R9
	JGE  four

tail:
	ADDQ $4, R9
	JZ   store

one:
	STEP(0, 0)
	ADDQ $24, AX
	ADDQ $32, BX
	DECQ R9
	JNZ  one

store:
	VMOVUPS Y4, (DX)
	VMOVUPS Y5, 32(DX)
	VMOVUPS Y6, (DX)(CX*1)
	VMOVUPS Y7, 32(DX)(CX*1)
	VMOVUPS Y8, (DX)(CX*2)
	VMOVUPS Y9, 32(DX)(CX*2)
	VMOVUPS Y10, (R12)
	VMOVUPS Y11, 32(R12)
	VMOVUPS Y12, (R12)(CX*1)
	VMOVUPS Y13, 32(R12)(CX*1)
	VMOVUPS Y14, (R12)(CX*2)
	VMOVUPS Y15, 32(R12)(CX*2)

	ADDQ R10, SI
	LEAQ (R12)(CX*2), DX
	ADDQ CX, DX
	DECQ R8
	JNZ  tile
	VZEROUPPER
	RET

// Constants of exact.BF16, eight lanes each: 0x7fff, the magnitude mask, the bits before those of 2^-60 and of 2^63,
// and the exponent mask.
#define EIGHT(offset, value) \
	DATA bf16<>+(offset+0)(SB)/8, value  \
	DATA bf16<>+(offset+8)(SB)/8, value  \
	DATA bf16<>+(offset+16)(SB)/8, value \
	DATA bf16<>+(offset+24)(SB)/8, value

EIGHT(0, $0x00007fff00007fff)
EIGHT(32, $0x7fffffff7fffffff)
EIGHT(64, $0x217fffff217fffff)
EIGHT(96, $0x5effffff5effffff)
EIGHT(128, $0x7f8000007f800000)
GLOBL bf16<>(SB), RODATA|NOPTR, $160

// BF16 rounds the eight lanes of x as exact.BF16 does; it needs three more registers.
#define BF16(x, rounded, size, keep) \
	VPSLLD    $15, x, rounded              \
	VPSRLD    $31, rounded, rounded        \
	VPADDD    x, rounded, rounded          \
	VPADDD    bf16<>+0(SB), rounded, rounded \
	VPSRLD    $16, rounded, rounded        \
	VPSLLD    $16, rounded, rounded        \
	VPAND     bf16<>+32(SB), x, size       \
	VPCMPGTD  bf16<>+64(SB), size, keep    \
	VPAND     keep, rounded, rounded       \
	VPCMPGTD  bf16<>+96(SB), size, size    \
	VPOR      bf16<>+128(SB), x, x         \
	VBLENDVPS size, x, rounded, x

// func acrossAVX2(dst *float32, panelStride, rowBytes int, src *float32, stride, depth, strips int, mask *int32)
//
// Each row of src is read once from left to right; a strip of rowBytes goes to each panel. Stores are eight lanes wide:
// what spills over the end of a shorter row is overwritten by the next row, or lies in the slack.
TEXT ·acrossAVX2(SB), NOSPLIT, $0-64
	MOVQ    dst+0(FP), DI
	MOVQ    panelStride+8(FP), R8
	MOVQ    rowBytes+16(FP), R9
	MOVQ    src+24(FP), SI
	MOVQ    stride+32(FP), R10
	MOVQ    depth+40(FP), R11
	MOVQ    strips+48(FP), R12
	MOVQ    mask+56(FP), AX
	VMOVUPS (AX), Y15
	LEAQ    (R10)(R10*2), R13
	ADDQ    R13, R13           // six rows ahead

row:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ R12, CX

strip:
	VMASKMOVPS (AX), Y15, Y0
	PREFETCHT0 (AX)(R13*1)
	BF16(Y0, Y1, Y2, Y3)
	VMOVUPS    Y0, (BX)
	ADDQ       R9, AX
	ADDQ       R8, BX
	DECQ       CX
	JNZ        strip

	ADDQ R10, SI
	ADDQ R9, DI
	DECQ R11
	JNZ  row
	VZEROUPPER
	RET

#define LINE(pointer, x) \
	VMOVUPS (pointer)(AX*1), x \
	BF16(x, Y13, Y14, Y15)

#define COLUMN(x) \
	VMOVUPS x, (DX) \
	ADDQ    CX, DX

// func alongAVX2(dst *float32, rowBytes int, from *[8]*float32, blocks int)
//
// Transposes blocks of 8×8, from eight lines along k to eight rows of a panel. Rows are stored in ascending k; see
// acrossAVX2 for the spill.
TEXT ·alongAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DX
	MOVQ rowBytes+8(FP), CX
	MOVQ from+16(FP), AX
	MOVQ blocks+24(FP), BX
	MOVQ 0(AX), R8
	MOVQ 8(AX), R9
	MOVQ 16(AX), R10
	MOVQ 24(AX), R11
	MOVQ 32(AX), R12
	MOVQ 40(AX), R13
	MOVQ 48(AX), SI
	MOVQ 56(AX), DI
	XORL AX, AX

block:
	LINE(R8, Y0)
	LINE(R9, Y1)
	LINE(R10, Y2)
	LINE(R11, Y3)
	LINE(R12, Y4)
	LINE(R13, Y5)
	LINE(SI, Y6)
	LINE(DI, Y7)

	// Pairs of lines, then quadruples, then both halves.
	VUNPCKLPS Y1, Y0, Y8
	VUNPCKHPS Y1, Y0, Y9
	VUNPCKLPS Y3, Y2, Y10
	VUNPCKHPS Y3, Y2, Y11
	VUNPCKLPS Y5, Y4, Y12
	VUNPCKHPS Y5, Y4, Y13
	VUNPCKLPS Y7, Y6, Y14
	VUNPCKHPS Y7, Y6, Y15
	VSHUFPS   $0x44, Y10, Y8, Y0
	VSHUFPS   $0xee, Y10, Y8, Y1
	VSHUFPS   $0x44, Y11, Y9, Y2
	VSHUFPS   $0xee, Y11, Y9, Y3
	VSHUFPS   $0x44, Y14, Y12, Y4
	VSHUFPS   $0xee, Y14, Y12, Y5
	VSHUFPS   $0x44, Y15, Y13, Y6
	VSHUFPS   $0xee, Y15, Y13, Y7
	VPERM2F128 $0x20, Y4, Y0, Y8
	VPERM2F128 $0x20, Y5, Y1, Y9
	VPERM2F128 $0x20, Y6, Y2, Y10
	VPERM2F128 $0x20, Y7, Y3, Y11
	VPERM2F128 $0x31, Y4, Y0, Y12
	VPERM2F128 $0x31, Y5, Y1, Y13
	VPERM2F128 $0x31, Y6, Y2, Y14
	VPERM2F128 $0x31, Y7, Y3, Y15
	COLUMN(Y8)
	COLUMN(Y9)
	COLUMN(Y10)
	COLUMN(Y11)
	COLUMN(Y12)
	COLUMN(Y13)
	COLUMN(Y14)
	COLUMN(Y15)

	ADDQ $32, AX
	DECQ BX
	JNZ  block
	VZEROUPPER
	RET
