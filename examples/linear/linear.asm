; y = x W + b for 64 x 64 matrices; MLEN = VLEN = 64, BLEN = 4.
;
; HBM            X at 0, W at 4608, Y at 9216: 4096 element bytes and 512 scale bytes each (MX, block 8)
; matrix SRAM    tile 0: W
; vector SRAM    rows 0-63: x, rows 64-127: y, row 128: b (addresses count elements: row 64 is 4096)
; fp SRAM        0-63: b

; Scales lie 4096 bytes behind their elements; one matrix row is 64 elements.
S_ADDI_INT gp1, gp0, 4096
C_SET_SCALE_REG gp1
S_ADDI_INT gp1, gp0, 64
C_SET_STRIDE_REG gp1
C_SET_ADDR_REG a0, gp0, gp0
S_ADDI_INT gp1, gp0, 4608
C_SET_ADDR_REG a1, gp0, gp1
S_ADDI_INT gp1, gp0, 9216
C_SET_ADDR_REG a2, gp0, gp1

; x, four rows at a time: gp2 counts, gp3 is the row address, the same as the offset in HBM.
S_ADDI_INT gp3, gp0, 0
C_LOOP_START gp2, 16
H_PREFETCH_V gp3, gp3, a0, 1, 0
S_ADDI_INT gp3, gp3, 256
C_LOOP_END gp2

; W into tile 0, b into row 128.
H_PREFETCH_M gp0, gp0, a1, 1, 0
S_ADDI_INT gp4, gp0, 8192
S_MAP_V_FP gp4, gp0, 0

; 4 x 4 blocks of x W: gp5 is the column, gp6 the rows of x, gp7 the place in y.
S_ADDI_INT gp5, gp0, 0
C_LOOP_START gp2, 16
S_ADDI_INT gp6, gp0, 0
S_ADDI_INT gp7, gp5, 4096
C_LOOP_START gp3, 16
M_MM 0, gp5, gp6
M_MM_WO gp7, gp0, 0
S_ADDI_INT gp6, gp6, 256
S_ADDI_INT gp7, gp7, 256
C_LOOP_END gp3
S_ADDI_INT gp5, gp5, 4
C_LOOP_END gp2

; Add b to every row of y.
S_ADDI_INT gp7, gp0, 4096
C_LOOP_START gp2, 64
V_ADD_VV gp7, gp7, gp4, 0
S_ADDI_INT gp7, gp7, 64
C_LOOP_END gp2

; y to HBM, four rows at a time: gp8 is the offset in Y.
S_ADDI_INT gp7, gp0, 4096
S_ADDI_INT gp8, gp0, 0
C_LOOP_START gp2, 16
H_STORE_V gp7, gp8, a2, 1, 0
S_ADDI_INT gp7, gp7, 256
S_ADDI_INT gp8, gp8, 256
C_LOOP_END gp2
